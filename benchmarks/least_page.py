"""The least page of Streamlit with a picture; `dashboard_speed.py` times it beside the dashboard's views."""

import plotly.graph_objects as go
import streamlit as st

st.plotly_chart(go.Figure(go.Scatter(x=[1, 2, 3], y=[1, 3, 2])))
